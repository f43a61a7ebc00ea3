"""Terminal output, exit codes and the API client shared by the commands and the labs."""
