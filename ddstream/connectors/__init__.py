"""Connectors: what came in becomes Samples. No network but in `remote`, no torch."""

from ddstream.connectors.protocol import Connector, ConnectorType
from ddstream.registry import Registry

CONNECTORS: Registry[ConnectorType] = Registry(
    {
        "csv_ts": "ddstream.connectors.series.connector:SeriesConnector",
        "csvts": "ddstream.connectors.series.connector:SeriesConnector",
        "csv": "ddstream.connectors.tables.connector:CsvConnector",
        "image": "ddstream.connectors.images.connector:ImageConnector",
        "svm": "ddstream.connectors.sparse.connector:SvmConnector",
        "txt": "ddstream.connectors.texts.connector:TextConnector",
    },
)

__all__ = ["CONNECTORS", "Connector", "ConnectorType"]
