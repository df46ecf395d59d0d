"""The bank of wrong and right answers to the exercises, a file a chapter; tests/test_mistakes.py runs it."""
