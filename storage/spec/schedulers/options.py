"""Constructor options that schedulers share, as sets."""

BASE = frozenset(
    {"num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "prediction_type", "timestep_spacing"}
    | {"steps_offset"}
)
SIGMAS = frozenset({"use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas"})
THRESHOLD = frozenset({"thresholding", "dynamic_thresholding_ratio", "sample_max_value"})
CLIP = frozenset({"clip_sample", "clip_sample_range"})
ZERO_SNR = frozenset({"rescale_betas_zero_snr"})
SOLVER = BASE | SIGMAS | THRESHOLD | {"solver_order", "solver_type", "lower_order_final"}
DPM = SOLVER | {"algorithm_type", "final_sigmas_type", "lambda_min_clipped", "variance_type"}
DISTILLED = BASE | CLIP | THRESHOLD | ZERO_SNR | {"original_inference_steps", "set_alpha_to_one", "timestep_scaling"}

KARRAS = {"use_karras_sigmas": True}
EXPONENTIAL = {"use_exponential_sigmas": True}
SDE = {"algorithm_type": "sde-dpmsolver++"}
