"""Will a config train here? What ``tools/doctor.py`` looks at."""
from .report import Report
from .visit import doctor

__all__ = ['Report', 'doctor']
