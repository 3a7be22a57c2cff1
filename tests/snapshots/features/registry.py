"""The features, by name."""

FEATURES = {}


def feature(function):
    FEATURES[function.__name__] = function
    return function
