"""Connectors: what came in becomes Samples. No network but in `fetch`, no torch."""

from ddstream.connectors.protocol import Connector, ConnectorType
from ddstream.registry import Registry

CONNECTORS: Registry[ConnectorType] = Registry(
    {
        "csv_ts": "ddstream.connectors.csvts:SeriesConnector",
        "csvts": "ddstream.connectors.csvts:SeriesConnector",
        "csv": "ddstream.connectors.csv:CsvConnector",
        "image": "ddstream.connectors.image:ImageConnector",
        "svm": "ddstream.connectors.svm:SvmConnector",
        "txt": "ddstream.connectors.txt:TextConnector",
    },
)

__all__ = ["CONNECTORS", "Connector", "ConnectorType"]
