"""Agents and models that play a script, for tests of the planner over ACP."""
