"""What only the book needs: its order, its figures, the checks of its exercises."""
