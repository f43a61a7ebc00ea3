"""The rules of the deployment: versions of recipes and policies, submissions, and who may approve."""
