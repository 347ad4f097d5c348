"""A local Apache Kafka: where its program comes from, its properties, its process."""
