"""Trainings on Kafka: who runs which, and what is told of them."""
