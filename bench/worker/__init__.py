"""Several processes that share the load of a case: the engine again, N times, each with every N-th message.

`process` starts and leads them from inside a run, `__main__` is one of them, `job` is what they say.
"""
