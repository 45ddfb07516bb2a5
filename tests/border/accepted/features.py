"""Features: see `allowed`."""

LINES = """
FeatureChain.get_params deep: true
register_features compiled: true
register_features saved: true
PolynomialFeatures.get_feature_names_out input_features: none texts
FourierFeatures.get_feature_names_out input_features: none texts empty
FeatureChain.get_feature_names_out input_features: none texts
FeatureUnion.get_feature_names_out input_features: none texts
Coordinates memory: zero
Coordinates n_inputs: zero
SampledFeatures steepness: fraction
SampledFeatures ignored: empty
SampledFeatures random_state: none zero
FourierFeatures length_scale: fraction
FourierFeatures orthogonal: true
FourierFeatures random_state: none zero
RadialFeatures length_scale: fraction
RadialFeatures random_state: none zero
PolynomialFeatures interaction_only: true
PolynomialFeatures ignored: empty
RecurrentFeatures steepness: fraction
RecurrentFeatures random_state: none zero
FunctionFeatures derivative: none
FeatureMap.fit X: wider
FeatureMap.fit y: none wider
SampledFeatures.transform X: longer
SampledFeatures.jacobian X: longer
PolynomialFeatures.transform X: longer
PolynomialFeatures.jacobian X: longer
Coordinates.of states: none empty
Coordinates.of angles: empty
Coordinates.of memory: zero
Coordinates.of n_inputs: zero
"""
