"""What a trial of one configuration costs, as measured on this machine."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Measurement:
    """Costs of a trial, scaled to the real numbers of images; times in seconds, sizes in bytes.

    Several values of a time are repeats: their spread is the noise of the measurement.

    Attributes:
        device: ``cpu`` or the name of the GPU that was measured.
        stages: Name of a shared stage to whether the storage has it: ``images/source``,
            ``images/target``, ``pose_vae/reference``, ``style``.
        stored_vaes: For each Pose VAE that was asked about, whether the storage has it.
        stored_trainings: For each trial that was asked about, whether it has its whole training.
        images_s: ``source`` and ``target`` to the time of making all images of it.
        images_bytes: The same for their size on disk, which is also what trials map to memory.
        vae_epoch_s: An epoch of the trial's Pose VAE over all source training poses.
        reference_vae_epoch_s: An epoch of the reference Pose VAE.
        vae_bytes: A Pose VAE and its scores on disk.
        style_fixed_s: Start of the style network's training.
        style_encoder_step_s: A step of its encoder.
        style_step_s: A step of its decoder.
        style_bytes: The style network on disk.
        setup_s: Start of a trial once its stages are there, first step included.
        pretrain_step_s: A step of source pre-training.
        adapt_step_s: A step of the method.
        evaluation_s: Evaluation and validators after an epoch.
        final_s: What the last epoch's evaluation takes beyond that.
        checkpoint_s: Writing a checkpoint.
        checkpoint_bytes: A checkpoint, last state and best network.
        peak_bytes: Largest resident memory of the process.
        peak_gpu_bytes: Largest reserved memory of the GPU.
    """

    device: str
    stages: dict[str, bool]
    images_s: dict[str, float]
    images_bytes: dict[str, int]
    vae_epoch_s: float
    reference_vae_epoch_s: float = 0.0
    stored_vaes: list[bool] = field(default_factory=list)
    stored_trainings: list[bool] = field(default_factory=list)
    vae_bytes: int = 0
    style_fixed_s: float = 0.0
    style_encoder_step_s: float = 0.0
    style_step_s: float = 0.0
    style_bytes: int = 0
    setup_s: float = 0.0
    pretrain_step_s: list[float] = field(default_factory=list)
    adapt_step_s: list[float] = field(default_factory=list)
    evaluation_s: list[float] = field(default_factory=list)
    final_s: float = 0.0
    checkpoint_s: float = 0.0
    checkpoint_bytes: int = 0
    peak_bytes: int = 0
    peak_gpu_bytes: int = 0
