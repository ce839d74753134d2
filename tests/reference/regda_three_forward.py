"""RegDA's step as one would first write it: three forward and three backward passes.

For correctness (the step that shares a forward pass must end in the same parameters) and as the
baseline of the speed benchmark. Steps B and C each run the whole network on the target batch,
and the backward pass of step B reaches the features, where nobody uses its gradient.
"""

from trainables.adapt.losses import disparity, ground_false_maps, ground_truth_maps, spatial_kl
from trainables.adapt.regda import gradient_factor


class ThreeForwardRegDA:
    """RegDA without a shared pass; arguments as those of ``RegDA``."""

    def __init__(self, net, weights, recipe, first_step=0):
        self.net = net
        self.weights = weights
        self.recipe = recipe
        self.first_step = self.current_step = first_step
        self.adversarial_head = net.new_head()
        self.optimizer_f = recipe.optimizer(
            {"backbone": net.backbone.parameters(), "upsampling": net.upsampling.parameters()}
        )
        self.optimizer_h = recipe.optimizer({"head": net.head.parameters()})
        self.optimizer_adv = recipe.optimizer(
            {"adversarial_head": self.adversarial_head.parameters()}
        )

    def step(self, source, target):
        """Steps A, B and C; returns the losses."""
        self.net.train()
        self.adversarial_head.train()
        optimizers = (self.optimizer_f, self.optimizer_h, self.optimizer_adv)
        self.recipe.set_rates(self.current_step, *optimizers)
        margin, tradeoff = self.weights.margin, self.weights.tradeoff

        y, y_adv = self.predict(source.images)
        source_kl = spatial_kl(y, source.maps, source.weights)
        source_disparity = disparity(y_adv, ground_truth_maps(y), source.weights)
        self.update(source_kl + margin * tradeoff * source_disparity, *optimizers)

        y, y_adv = self.predict(target.images)
        ones = y.new_ones(y.shape[:2])
        false_disparity = disparity(y_adv, ground_false_maps(ground_truth_maps(y)), ones)
        self.update(tradeoff * false_disparity, self.optimizer_adv)

        y, y_adv = self.predict(target.images)
        target_disparity = disparity(y_adv, ground_truth_maps(y), ones)
        self.update(tradeoff * target_disparity, self.optimizer_f)

        self.current_step += 1
        return {
            "source_kl": source_kl.detach(),
            "source_disparity": source_disparity.detach(),
            "false_disparity": false_disparity.detach(),
            "target_disparity": target_disparity.detach(),
        }

    def predict(self, images):
        """Logits of both heads; a hook scales what the adversarial head sends back."""
        features = self.net.features(images)
        for_adversary = features.view_as(features)
        factor = self.factor()
        for_adversary.register_hook(lambda gradient: gradient * factor)
        return self.net.head(features), self.adversarial_head(for_adversary)

    def factor(self):
        """Factor of this step on the gradient from the adversarial head to the features."""
        done = self.current_step - self.first_step
        return gradient_factor(done, self.weights.gradient_scale, self.weights.ramp_steps)

    def update(self, loss, *optimizers):
        """Backward through everything, then a step of some optimisers."""
        for optimizer in (self.optimizer_f, self.optimizer_h, self.optimizer_adv):
            optimizer.zero_grad()
        loss.backward()
        for optimizer in optimizers:
            optimizer.step()
