"""Approval: who may approve a plan, and which plans a policy approves by itself."""
