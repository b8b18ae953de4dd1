import unittest

from greet.words import greeting


class Greeting(unittest.TestCase):
    def test_names_whom_it_greets(self):
        self.assertEqual(greeting("Ada"), "Hello, Ada!")
