import sys

from greet.words import greeting


def main():
    print(greeting(sys.argv[1]))
