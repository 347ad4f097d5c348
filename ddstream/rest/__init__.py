"""The HTTP edge: routes over any Api, its OpenAPI description, its server and its client."""
