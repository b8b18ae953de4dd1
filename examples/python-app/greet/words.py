"""Greets whom its argument names."""


def greeting(name):
    return f"Hello, {name}!"
