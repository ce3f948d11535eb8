"""Protocols without sockets or clocks: bytes in, events and bytes out."""
