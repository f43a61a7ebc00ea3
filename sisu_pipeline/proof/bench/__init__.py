"""`sisu bench`: measurements on a stack of their own, in numbers a person can check in SQL."""
