"""Settings of metrics; nothing here imports torch."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, PositiveFloat, PositiveInt

from am.config import Settings
from am.metrics.direction import Better, in_words


class _Metric(Settings):
    name: str | None = Field(default=None, description="name in tables; the kind when left out")
    max_points: PositiveInt | None = Field(default=None, description="use the first so many points of each sample")

    quantity: ClassVar[str]
    """What it measures, for axes."""
    better: ClassVar[Better] = "lower"
    """Which values are better."""
    positive: ClassVar[bool] = False
    """Whether no value can be negative, so that intervals are those of the logarithm."""
    files: ClassVar[tuple[tuple[str, str], ...]] = ()
    """Source and name of each file of the registry that it needs."""

    @property
    def label(self) -> str:
        """The metric's name in tables."""
        kind: str = self.kind  # type: ignore[attr-defined]
        return self.name or kind

    @property
    def is_positive(self) -> bool:
        """Whether no value can be negative, with these settings."""
        return self.positive

    @property
    def axis(self) -> str:
        """What stands on the axis of a figure."""
        return f"{self.quantity}{in_words(self.better)}"


class Mmd(_Metric):
    """Unbiased squared maximum mean discrepancy, Gaussian kernels summed."""

    kind: Literal["mmd"] = "mmd"
    quantity = "MMD$^2$"
    scales: tuple[PositiveFloat, ...] = Field(
        default=(1e-4, 1e-4, 1e-4), min_length=1, description="kernel = sum of exp(-scale * squared distance)"
    )
    absolute: bool = Field(default=True, description="report the absolute value, as published")

    @property
    def is_positive(self) -> bool:
        """Unbiased estimates may be negative; their absolute values may not."""
        return self.absolute


class Wasserstein1(_Metric):
    """Exact optimal transport with Euclidean cost."""

    kind: Literal["wasserstein1"] = "wasserstein1"
    quantity = "$W_1$"
    positive = True


class Wasserstein2(_Metric):
    """Square root of exact optimal transport with squared Euclidean cost."""

    kind: Literal["wasserstein2"] = "wasserstein2"
    quantity = "$W_2$"
    positive = True


class SlicedWasserstein(_Metric):
    """Mean over random directions of a one-dimensional Wasserstein distance."""

    kind: Literal["sliced_wasserstein"] = "sliced_wasserstein"
    quantity = "sliced Wasserstein"
    positive = True
    order: Literal[1, 2] = 2
    projections: PositiveInt = 200


class Energy(_Metric):
    """Energy distance."""

    kind: Literal["energy"] = "energy"
    quantity = "energy distance"


class Sinkhorn(_Metric):
    """Debiased Sinkhorn divergence."""

    kind: Literal["sinkhorn"] = "sinkhorn"
    quantity = "Sinkhorn divergence"
    positive = True
    p: Literal[1, 2] = 2
    blur: PositiveFloat = Field(default=0.05, description="square root (p = 2) of the entropic temperature")


class ClassifierFrechet(_Metric):
    """Frechet distance in the features of a classifier trained on the same data: not FID, which has its own network."""

    kind: Literal["classifier_frechet"] = "classifier_frechet"
    quantity = "Frechet distance (classifier)"
    positive = True


class ClassifierKernel(_Metric):
    """Kernel distance (KID's estimator) in the same features: of any number of images, and not KID."""

    kind: Literal["classifier_kernel"] = "classifier_kernel"
    quantity = "kernel distance (classifier)"


class Unrecognised(_Metric):
    """Share of images that a classifier trained on the same data is not sure of."""

    kind: Literal["unrecognised"] = "unrecognised"
    quantity = "share not recognised"
    positive = True
    confidence: float = Field(default=0.9, gt=0, lt=1, description="what it must give to a class to be sure")


class MissingClasses(_Metric):
    """Number of classes that it is sure of no image to be of."""

    kind: Literal["missing_classes"] = "missing_classes"
    quantity = "classes missing"
    positive = True
    confidence: float = Field(default=0.9, gt=0, lt=1, description="what it must give to a class to be sure")


class EfficientNetKernel(_Metric):
    """Kernel distance (KID's estimator) in features of EfficientNet-Lite0: not KID, which has its own network."""

    kind: Literal["efficientnet_kernel"] = "efficientnet_kernel"
    quantity = "kernel distance (EfficientNet)"


class _ImageMetric(_Metric):
    """Of predicted images alone, or beside all images of a split, however many are predicted.

    Its floor is what as many test images get; there is none where there are fewer.
    """


class _InceptionMetric(_ImageMetric):
    """Of what the Inception network of 2015 makes of them."""

    files = (("inception", "weights-inception-2015-12-05-6726825d.pth"),)


class Fid(_InceptionMetric):
    """Frechet inception distance to all training images."""

    kind: Literal["fid"] = "fid"
    quantity = "FID"
    positive = True


class InceptionScore(_InceptionMetric):
    """Inception score."""

    kind: Literal["inception_score"] = "inception_score"
    quantity = "inception score"
    better = "higher"
    positive = True
    splits: PositiveInt = Field(default=10, description="parts whose scores are averaged")


class Kid(_InceptionMetric):
    """Kernel inception distance to all training images."""

    kind: Literal["kid"] = "kid"
    quantity = "KID"
    subsets: PositiveInt = Field(default=100, description="random subsets whose distances are averaged")
    subset_size: int = Field(default=1000, ge=2, description="images of each")


class NearestTraining(_ImageMetric):
    """Median distance to the nearest training image, relative to that of test images: below its floor it is memory."""

    kind: Literal["nearest_training"] = "nearest_training"
    quantity = "relative distance to training images"
    positive = True


class _PairedMetric(_Metric):
    """Of each prediction beside the very image that its condition was taken from; controls with other images have none.

    It has no floor: two samples of the truth are no pairs.
    """

    better = "higher"


class Psnr(_PairedMetric):
    """Peak signal-to-noise ratio of 8-bit images, in decibels: of all pixels together."""

    kind: Literal["psnr"] = "psnr"
    quantity = "PSNR (dB)"


class Ssim(_PairedMetric):
    """Mean structural similarity of 8-bit images."""

    kind: Literal["ssim"] = "ssim"
    quantity = "SSIM"


class _FieldMetric(_Metric):
    """Of what a method says of the test points themselves, where the truth knows it; methods that do not say have none.

    It has no floor: what is exact has the error 0.
    """


class VelocityError(_FieldMetric):
    """Relative L2 error of the mean velocity, or drift, under q_t."""

    kind: Literal["velocity_error"] = "velocity_error"
    quantity = "relative error of the velocity"
    positive = True


class VelocityCosine(_FieldMetric):
    """Mean cosine of the angle between the mean velocity, or drift, and the true one."""

    kind: Literal["velocity_cosine"] = "velocity_cosine"
    quantity = "cosine between velocities"
    better = "higher"


class GrowthError(_FieldMetric):
    """Relative L2 error of the growth rate, less its mean, under q_t."""

    kind: Literal["growth_error"] = "growth_error"
    quantity = "relative error of the growth rate"
    positive = True


class GrowthCorrelation(_FieldMetric):
    """Correlation of the growth rate with the true one, mean growth included, over times and points of q_t."""

    kind: Literal["growth_correlation"] = "growth_correlation"
    quantity = "correlation of the growth rate"
    better = "higher"


class MassError(_FieldMetric):
    """Relative error of the whole mass, counted from where particles start: the mean growth, which no distance sees."""

    kind: Literal["mass_error"] = "mass_error"
    quantity = "relative error of the mass"
    positive = True


class SampleSizeLost(_FieldMetric):
    """Share of the sample size that uneven weights cost: one less the effective sample size over n."""

    kind: Literal["sample_size_lost"] = "sample_size_lost"
    quantity = "share of the sample size lost"
    positive = True


class BitsPerDim(_Metric):
    """Negative log-likelihood of dequantised test images under the flow that samples follow, in bits a coordinate.

    Its divergence is Hutchinson's estimate. Methods without a flow have none, and nor has the truth a floor.
    """

    kind: Literal["bits_per_dim"] = "bits_per_dim"
    quantity = "bits per dimension"
    images: PositiveInt = Field(default=50, description="the first so many test images")
    probes: int = Field(
        default=2, ge=2, description="random directions of each, which tell how far the estimate is off"
    )
    tolerance: PositiveFloat = Field(default=1e-3, description="rtol and atol of dopri5")
    batch: PositiveInt = Field(default=100, description="images that are followed together")


class BitsPerDimError(_Metric):
    """Standard error of bits_per_dim that comes from the random directions, not from the choice of images."""

    kind: Literal["bits_per_dim_error"] = "bits_per_dim_error"
    quantity = "standard error of bits per dimension"
    positive = True


class MedianBitsPerDim(_Metric):
    """The median, over test images, of what bits_per_dim is the mean of: a few lost images leave it as it is."""

    kind: Literal["median_bits_per_dim"] = "median_bits_per_dim"
    quantity = "median bits per dimension"


class Incompressible(_Metric):
    """Share of test images that take more bits than they do as they are stored, log2(levels) a coordinate."""

    kind: Literal["incompressible"] = "incompressible"
    quantity = "share of images not compressed"
    positive = True


DistanceSettings = (
    Mmd
    | Wasserstein1
    | Wasserstein2
    | SlicedWasserstein
    | Energy
    | Sinkhorn
    | ClassifierFrechet
    | ClassifierKernel
    | Unrecognised
    | MissingClasses
    | EfficientNetKernel
)
"""Settings of a distance between samples."""
PictureSettings = Fid | InceptionScore | Kid | NearestTraining
"""Settings of a metric of images alone."""
PairedSettings = Psnr | Ssim
"""Settings of a comparison of images in pairs."""
LikelihoodSettings = BitsPerDim | BitsPerDimError | MedianBitsPerDim | Incompressible
"""Settings of a metric of the likelihood of test images."""
COLOUR_METRICS = (EfficientNetKernel, Fid, InceptionScore, Kid)
"""Metrics of images of three channels."""
IMAGE_METRICS = (
    *(ClassifierFrechet, ClassifierKernel, Unrecognised, MissingClasses, Psnr, Ssim, NearestTraining),
    *(BitsPerDim, BitsPerDimError, MedianBitsPerDim, Incompressible),
    *COLOUR_METRICS,
)
"""Metrics of images."""
OfOneTime = VelocityError | VelocityCosine | GrowthError | MassError | SampleSizeLost
FieldSettings = OfOneTime | GrowthCorrelation
"""Settings of a metric of what a method says of points."""
MetricSettings = Annotated[
    DistanceSettings | PictureSettings | PairedSettings | LikelihoodSettings | FieldSettings,
    Field(discriminator="kind"),
]
"""Settings of any metric, told apart by ``kind``."""
