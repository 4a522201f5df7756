from tests.support.standing import house, standing_house, theatre

__all__ = ["house", "standing_house", "theatre"]
