from tests.support.fixtures import house, standing_house, standing_theatre, theatre

__all__ = ["house", "standing_house", "standing_theatre", "theatre"]
