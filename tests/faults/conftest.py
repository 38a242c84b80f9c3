from tests.scenario.conftest import stage

__all__ = ["stage"]
