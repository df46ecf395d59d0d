"""The checks of the exercises: chNN.py holds a chapter's EXERCISES, a list of
`minisd.teaching.checks.Exercise`.
"""
