"""The asynchronous population: engine, selection, allocation, budget, events."""
