"""The tests that are marked slow: they take long, and other tests check nearly the same."""

import pytest

FLOWING = ("rnn_tanh", "lstm")

SLOW = {
    "test_mnist_lstm": {"test_both_readouts_give_the_same_numbers": ()},
    "test_flow_rows": {"test_a_damaged_row_does_not_affect_the_others": ()},
    "test_char_lm": {
        "test_a_resumed_run_continues_reading_at_its_position": (),
        "test_the_model_learns_the_words_and_samples_them": (),
        "test_a_run_writes_its_files_and_samples_at_another_temperature": (),
    },
    "test_mnist_generate": {
        "test_the_network_learns_to_generate_digits": (),
        "test_a_resumed_run_equals_an_uninterrupted_one": (),
    },
    "test_train": {"test_single_steps_in_a_loop_equal_the_steps_of_one_call": ("[2",)},
    "test_windows": {
        "test_an_episode_at_a_window_start_keeps_its_gradient": ("ragged-chunked-False",),
    },
    "test_default_flags": {
        "test_drivers_agree_with_a_python_loop_under_default_flags": (),
        "test_memory_of_online_gradients_is_constant_under_default_flags": (),
    },
    "test_adjoint_probe": {
        "test_norms_equal_the_reference_and_gradients_are_unchanged": ("[lstm",),
    },
    "test_image_data": {
        "test_the_bundled_mnist_is_the_published_one": (),
        "test_a_second_process_reads_the_cache_and_imports_neither_tfds_nor_jax": (),
    },
    "test_analysis_flags": {
        "test_an_equal_cell_and_new_values_compile_nothing": ("adjoint_norms", "lyapunov"),
        "test_jax_settings_change_no_value": ("unroll_carries",),
        "test_zero_steps_are_a_valid_sequence": ("nullcontext",),
        "test_inputs_may_be_any_kind_of_array": ("long_term",),
        "test_a_batch_on_explicit_axes_of_a_mesh_gives_the_same": ("unroll_carries",),
    },
    "test_command": {"test_an_experiment_runs_under_the_environment_variables_of_jax": ()},
    "test_compilations": {
        "test_a_second_unroll_and_its_gradient_compile_nothing": ("lstm-chunked", "mingru-assoc"),
        "test_a_second_init_with_another_key_compiles_nothing": ("leaky",),
    },
    "test_fused": {
        "test_values_and_gradients_are_those_of_scan": ("gru-plain", "normed-leng"),
        "test_bfloat16_weights_give_float32_results_close_to_float64": (),
        "test_training_compiles_for_gpus_and_tpus": ("lstm-gpu", "gru-tpu"),
        "test_any_number_of_steps_and_examples_runs": ("[3",),
    },
    "test_gradient_flow": {
        "test_norms_are_those_of_the_gradient_by_a_change_of_each_carry": ("lstm",),
        "test_vmap_over_seeds_equals_a_loop": ("float64",),
        "test_any_number_of_batch_dimensions": ("batch1",),
    },
    "test_jacobians": {
        "test_the_largest_singular_value_is_that_of_the_product_of_jacobians": ("lstm",),
        "test_the_smallest_singular_value_is_that_of_the_product_of_inverses": ("rnn_tanh",),
    },
    "test_jax_settings": {
        "test_32_bit_inputs_run_with_x64_enabled": ("leaky",),
        "test_a_step_is_the_same_under_strict_promotion": ("lstm", "lru"),
        "test_a_batch_may_be_sharded_over_explicit_axes": ("[lstm-chunked",),
        "test_a_batch_may_be_split_by_shard_map_with_checks": ("lstm-chunked", "mingru-assoc"),
        "test_runs_and_gradients_are_the_same_under_strict_promotion": ("leaky",),
    },
    "test_linen_cell": {
        "test_nn_rnn_equals_unroll": FLOWING,
        "test_init_uses_the_parameters_and_start_of_the_cell": FLOWING,
    },
    "test_lyapunov": {
        "test_fewer_orthonormalizations_change_only_rounding": ("None",),
        "test_a_scaled_orthogonal_linear_rnn_has_the_log_of_its_gain": (),
        "test_the_spectrum_is_that_of_a_qr_of_every_jacobian": FLOWING,
        "test_exponents_sum_to_the_mean_log_determinant": FLOWING,
    },
    "test_mnist_command": {
        "test_a_mistake_is_one_sentence_and_exit_code_2": ("arguments0",),
        "test_a_closed_output_pipe_causes_no_stack_trace": (),
        "test_a_run_stopped_by_ctrl_c_resumes_exactly": (),
        "test_two_processes_train_and_resume_as_one": (),
        "test_without_data_and_network_the_error_is_one_line": (),
    },
    "test_modules": {
        "test_a_fused_projection_changes_neither_values_nor_gradients": ("lstm", "reset_before"),
    },
    "test_processes": {
        "test_a_process_without_the_run_folder_is_an_error": (),
        "test_another_server_at_the_port_is_detected": (),
    },
    "test_readme": {"test_the_cell_of_the_readme_trains_on_mnist": ()},
    "test_trainer": {
        "test_a_resumed_run_equals_an_uninterrupted_one": ("lstm",),
        "test_a_run_of_two_devices_resumes_on_any_number": (),
    },
    "test_unroll_properties": {
        "test_the_chunked_driver_gives_the_values_and_gradients_of_scan": ("leaky", "mingru"),
    },
    "test_parallel_in_time": {
        "test_values_and_gradients_are_those_of_the_scan_driver": ("cell0-paral", "cell2-quasi"),
        "test_quasi_newton_takes_more_iterations_and_is_exact_after_t_of_them": (),
        "test_the_forecast_agrees_with_the_iteration": ("1.0-True-100", "2.5-False-None"),
        "test_a_diagonal_jacobian_gives_the_iterations_of_the_full_one": ("cell0",),
    },
    "test_lyapunov_gradient": {
        "test_the_differentiable_spectrum_has_the_same_values": ("cell1",),
        "test_the_gradient_of_exponents_equals_finite_differences": ("cell0",),
        "test_a_step_maps_covariant_vectors_to_those_of_the_next_step": ("cell0",),
    },
    "test_norm_preserving": {"test_the_gradient_is_immediate_for_every_cell": ()},
    "test_online_gradients": {
        "test_rtrl_equals_backpropagation_for_representative_cells": ("lstm",),
        "test_rtrl_equals_backpropagation_for_every_cell": (),
        "test_resets_masks_and_wrappers_give_the_gradient_of_unroll": ("cell0",),
        "test_snap1_is_exact_for_diagonal_and_complex_cells": ("masks1-cell2",),
        "test_snap1_is_exact_for_other_linear_cells": (),
        "test_snap1_is_the_masked_recursion_of_the_paper": (),
        "test_uoro_is_unbiased_over_many_draws": (),
        "test_rflo_is_exact_without_recurrent_weights": (),
        "test_pieces_of_a_stream_add_up_to_its_gradient": (),
        "test_values_of_masked_steps_do_not_reach_the_gradient": (),
        "test_a_cell_that_does_not_fit_is_one_sentence": ("estimator1", "rtrl"),
    },
    "test_online_training": {
        "test_compiled_memory_does_not_depend_on_the_number_of_steps": ("estimator2",),
        "test_updates_at_every_step_learn_to_remember": (),
    },
    "test_flip_flop": {
        "test_a_network_learns_one_bit_and_holds_it_in_two_stable_points": (),
        "test_a_run_that_is_cut_off_resumes_exactly": (),
        "test_a_run_writes_its_files_and_can_be_loaded": (),
    },
    "test_sequence_classification": {
        "test_a_network_learns_ragged_sequences_and_can_be_loaded": (),
        "test_a_run_that_is_cut_off_resumes_exactly": (),
    },
    "test_run_dir": {"test_runs_that_start_together_use_separate_folders": ()},
    "test_gradient_flow_benchmark": {
        "test_a_trained_run_is_measured_before_and_after": (),
        "test_a_run_writes_rows_and_figures_and_can_be_resumed": (),
        "test_the_probe_and_the_second_pass_give_the_same_norms": (),
        "test_a_user_cell_explodes_at_its_known_rate": (),
        "test_an_init_changes_only_the_parameters_it_names": ("gain=0.5",),
        "test_the_mnist_target_is_the_class_of_the_first_image": ("rows",),
        "test_targets_of_a_task_follow_from_its_inputs": ("adding",),
    },
    "test_sine_regression": {
        "test_the_figure_is_updated_during_training": ("False",),
        "test_the_network_learns_with_its_carry_and_not_without": (),
    },
    "test_date_translation": {"test_it_learns_resumes_and_translates_lines": ()},
    "test_check_cell": {
        "test_failed_checks_are_named": ("LooksAhead", "DropsAGradient", "MixesTheBatch"),
    },
    "test_associative": {
        "test_values_and_gradients_with_lengths_are_those_of_scan": ("[lru",),
        "test_any_number_of_steps_runs": ("[5",),
    },
    "test_special_cells": {
        "test_recurrent_matrices_stay_orthogonal_after_an_update": ("inner0-exp", "inner1-cay"),
    },
    "test_export": {
        "test_exported_sequences_of_any_length_and_batch": ("model",),
        "test_an_exported_step_follows_streams_with_resets": ("cell0",),
    },
    "test_cudnn": {"test_values_and_gradients_are_those_of_scan": ("batch0-True",)},
    "test_fixed_points": {"test_a_point_of_any_cell_stays_and_is_visited": ("cell0",)},
    "test_matrix_cells": {
        "test_adjoint_norms_are_those_of_each_field": (),
        "test_drivers_parallel_in_time_agree_with_scan": ("parallel_backward",),
    },
    "test_formal_languages": {
        "test_cells_learn_parity_of_longer_strings_and_mingru_does_not": (),
        "test_one_unit_with_a_in_minus_1_to_1_holds_the_parity_of_any_string": (),
        "test_an_interrupted_grid_resumes_exactly": (),
    },
    "test_gradient_flossing": {
        "test_a_network_learns_a_delay_of_20_with_flossing_and_not_without": (),
        "test_an_interrupted_grid_resumes_exactly": (),
    },
    "test_online_recall": {
        "test_online_gradients_learn_better_than_truncated_ones": (),
        "test_an_interrupted_grid_resumes_exactly": (),
    },
    "test_memory_tasks": {"test_an_interrupted_grid_resumes_exactly": ()},
    "test_rollouts": {
        "test_a_stream_does_not_depend_on_the_others": (),
        "test_the_last_reward_is_that_of_the_first_end": (),
        "test_a_loop_that_clears_the_state_after_each_done_gives_the_same": ("gru",),
        "test_resets_one_step_early_change_the_last_output_of_each_episode": ("gru",),
        "test_resets_one_step_late_change_the_first_output_of_each_episode": ("gru",),
        "test_each_episode_equals_a_run_of_its_own": ("gru",),
        "test_unroll_with_the_resets_of_a_window_repeats_the_rollout": ("gru",),
    },
    "test_t_maze": {
        "test_an_agent_learns_to_remember_the_sign": (),
        "test_a_run_that_is_cut_off_resumes_exactly": (),
    },
    "test_throughput": {
        "test_every_driver_has_a_row_with_all_columns": (),
        "test_drivers_and_devices_agree": (),
        "test_columns_of_a_row_are_consistent": (),
        "test_an_absent_peer_is_named_with_the_reason": (),
        "test_replot_needs_only_the_rows": (),
        "test_bad_input_is_one_sentence_and_exit_code_2": ("arguments0",),
    },
    "test_stream_command": {
        "test_a_streamed_text_gives_the_same_network_in_one_process_and_in_two": (),
        "test_without_grain_the_error_names_the_command": (),
        "test_ctrl_c_saves_the_run_and_leaves_no_worker": (),
    },
    "test_stream": {
        "test_a_streamed_run_on_two_devices_equals_one_in_memory": ("thread",),
        "test_a_run_that_is_cut_off_continues_from_the_saved_iterator": ("before0",),
        "test_an_error_of_a_source_reaches_the_user": ("thread",),
        "test_a_worker_that_dies_is_one_sentence": (),
    },
    "test_speech_digits": {
        "test_a_run_that_is_cut_off_resumes_exactly": (),
        "test_strings_of_tones_are_written_down": (),
    },
    "test_wrapped_cells": {
        "test_a_wrapped_cell_agrees_between_all_its_drivers": ("LSTMCell-chunked",),
    },
}
"""By module and test, parts of the names of the parameters that stay among the fast tests."""


SIMILAR = (
    *("irnn", "coupled", "projected", "minlstm", "ugrnn", "antisymmetric", "unbiased"),
    *("zoneout_of_a_step", "learned_carry_of_a_step", "cayley_of_a_step"),
    *("dale", "indrnn", "lem", "lmu", "s5", "gated_deltanet", "mlstm"),
)
"""Rows of `tests/cells.py` like others: fast are the comparisons with their equations alone."""


def mark_slow(items):
    """Mark the collected tests that `SLOW` lists, and most of those of `SIMILAR` cells."""
    for item in items:
        row = getattr(item, "callspec", None) and item.callspec.id
        if row and item.path.stem != "test_references" and row.startswith(SIMILAR):
            item.add_marker(pytest.mark.slow)
        fast = SLOW.get(item.path.stem, {}).get(item.originalname)
        if fast is not None and not any(part in item.name for part in fast):
            item.add_marker(pytest.mark.slow)
