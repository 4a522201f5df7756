"""A participant that misbehaves when an order asks for it by its goods: the real one, wrapped. Set by the
environment alone.
"""
