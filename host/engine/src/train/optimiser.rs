//! Start values, stochastic gradient descent, running average of the weights.

use crate::layout::{Layout, Role};

use super::network::{Values, zeros};
use super::random::Random;

/// Start values: weights normal with variance 2/fan-in (He et al., 2015), scales 1, shifts 0,
/// kernel transforms the identity.
#[must_use]
pub fn start(layout: &Layout, random: &mut Random) -> Values {
    let mut values = zeros(layout);
    for (parameter, values) in layout.parameters.iter().zip(&mut values) {
        match parameter.role {
            Role::Weight { fan_in } => {
                // A layer that nothing rectifies keeps its variance with 1/fan-in.
                let deviation = (2.0 / fan_in as f32).sqrt();
                values.iter_mut().for_each(|value| *value = deviation * random.normal());
            }
            Role::Scale => values.fill(1.0),
            Role::Shift => {}
            Role::Transform => {
                let side = parameter.shape[0];
                (0..side).for_each(|place| values[place * side + place] = 1.0);
            }
        }
    }
    values
}

/// Nesterov momentum with weight decay on weights only, and a running average of the values.
#[derive(Debug, Clone, PartialEq)]
pub struct Optimiser {
    /// Velocities.
    pub velocity: Values,
    /// Running average of the values.
    pub average: Values,
    /// Steps done.
    pub steps: u64,
}

/// Constants of the optimiser.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Momentum.
    pub momentum: f32,
    /// Weight decay.
    pub decay: f32,
    /// Largest norm of all gradients together; longer ones are shortened to it.
    pub clip: f32,
    /// Weight of the past in the running average, once it has one.
    pub average: f32,
}

impl Optimiser {
    /// At rest, at these values.
    #[must_use]
    pub fn new(layout: &Layout, values: &Values) -> Self {
        Self { velocity: zeros(layout), average: values.clone(), steps: 0 }
    }

    /// One step down.
    pub fn step(
        &mut self,
        layout: &Layout,
        values: &mut Values,
        gradients: &Values,
        rate: f32,
        settings: &Settings,
    ) {
        let norm = gradients.iter().flatten().map(|g| g * g).sum::<f32>().sqrt();
        let scale = if norm > settings.clip { settings.clip / norm } else { 1.0 };
        self.steps += 1;
        // The average warms up: early on it would remember the random start for long.
        let past = settings.average.min(self.steps as f32 / (self.steps as f32 + 10.0));
        for (index, parameter) in layout.parameters.iter().enumerate() {
            let decayed = matches!(parameter.role, Role::Weight { .. });
            let decay = if decayed { settings.decay } else { 0.0 };
            let places = values[index]
                .iter_mut()
                .zip(&gradients[index])
                .zip(&mut self.velocity[index])
                .zip(&mut self.average[index]);
            for (((value, gradient), velocity), average) in places {
                let gradient = gradient * scale + decay * *value;
                *velocity = settings.momentum * *velocity + gradient;
                *value -= rate * (gradient + settings.momentum * *velocity);
                *average = past * *average + (1.0 - past) * *value;
            }
        }
    }
}
