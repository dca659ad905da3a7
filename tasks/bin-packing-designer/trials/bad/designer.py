"""Asks nothing and returns rubbish."""


def design(instances, capacity, requests):
    return "Here is your solver: first fit."
