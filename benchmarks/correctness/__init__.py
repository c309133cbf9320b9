"""Does the correctness gate see what is wrong, and only that?"""
