"""Containers by runc: a root, a control group and a configuration each."""
