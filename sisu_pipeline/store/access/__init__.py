"""The rows that say who may call the API: people, tokens and sessions."""
