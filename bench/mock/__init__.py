"""Local servers that imitate mail providers, in a process of their own.

They take messages, check them as a provider does, and throw them away; nothing is ever relayed.
"""
