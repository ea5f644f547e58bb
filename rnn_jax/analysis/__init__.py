"""Analysis of cells: gradient flow, Jacobians, Lyapunov exponents, time scales, recordings."""
