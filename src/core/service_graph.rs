//! ServiceGraph: who depends on whom.
