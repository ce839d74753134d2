"""Batches made one after another in the training step: drawn, read, copied and augmented."""

import numpy as np
import torch

from trainables.adapt.adapter import SourceBatch, TargetBatch
from trainables.data.augment import augment_images, draw_augmentation, draw_views, warp_keypoints
from trainables.data.heatmaps import heatmap_targets
from trainables.sampling.sampler import draw_indices
from trainables.seeding import torch_generator


class SerialBatches:
    """Both domains' batches of some steps, from the same random streams as those of a run."""

    def __init__(self, source, target, settings):
        self.stores, self.settings = {"source": source, "target": target}, settings
        self.streams = {
            (domain, name): torch_generator(settings.seed, domain, name)
            for domain in self.stores
            for name in ("samples", "augment")
        }

    def epoch(self, weights, steps, batch_size, with_teacher_view):
        """Pairs of a source and a target batch."""
        drawn = draw_indices(weights, steps * batch_size, self.streams["source", "samples"])
        for step in range(steps):
            yield (
                self._source(drawn[step * batch_size : (step + 1) * batch_size]),
                self._target(batch_size, with_teacher_view),
            )

    def _source(self, index):
        store, settings = self.stores["source"], self.settings
        draw = draw_augmentation(
            len(index), store.image_size, settings.ranges, self.streams["source", "augment"]
        ).map(settings.shard.take)
        rows = settings.shard.take(torch.from_numpy(store.splits["train"][index.numpy()]))
        keypoints = np.stack([store.keypoints_px[row] for row in rows.tolist()])
        visible = np.stack([store.visible[row] for row in rows.tolist()])
        maps, weights = heatmap_targets(
            warp_keypoints(torch.from_numpy(keypoints), draw.matrix),
            torch.from_numpy(visible),
            store.image_size,
            settings.heatmap_size,
            settings.is_quantised,
        )
        images = augment_images(self._images("source", rows), draw)
        return SourceBatch(images, maps, weights, rows, draw.matrix)

    def _target(self, batch_size, with_teacher_view):
        store, settings = self.stores["target"], self.settings
        train = store.splits["train"]
        samples, augment = self.streams["target", "samples"], self.streams["target", "augment"]
        index = torch.randint(len(train), (batch_size,), generator=samples)
        rows = settings.shard.take(torch.from_numpy(train[index.numpy()]))
        views = []
        num_views = 1 + with_teacher_view
        for whole in draw_views(batch_size, store.image_size, settings.ranges, augment, num_views):
            draw = whole.map(settings.shard.take)
            views.append((augment_images(self._images("target", rows), draw), draw.matrix))
        (images, view), *teacher = views
        return TargetBatch(images, rows, view, *(teacher[0] if teacher else ()))

    def _images(self, domain, rows):
        return torch.from_numpy(
            np.stack([self.stores[domain].images[row] for row in rows.tolist()])
        )
