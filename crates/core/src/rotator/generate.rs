//! Random values.

use std::collections::BTreeMap;

use rekey_api::rotator::GenerateRotator;

use super::Values;
use crate::{SpecError, chance::Chance, password::Recipe};

/// How each property is made.
#[derive(Clone, Debug)]
pub struct Generate {
    /// Recipes by property; at least one.
    pub recipes: BTreeMap<String, Recipe>,
}

impl Generate {
    /// Parses it.
    ///
    /// # Errors
    /// Names the field that cannot work.
    pub fn parse(spec: &GenerateRotator) -> Result<Self, SpecError> {
        let mut recipes = BTreeMap::new();
        for field in spec.fields.iter().flatten() {
            let at = format!("spec.rotator.generate.fields[{}].password", field.property);
            let recipe = Recipe::parse(&field.password, &at)?;
            if recipes.insert(field.property.clone(), recipe).is_some() {
                let fix = format!("the property {:?} appears twice; remove one", field.property);
                return Err(SpecError::field("spec.rotator.generate.fields", fix));
            }
        }
        if recipes.is_empty() {
            return Err(SpecError::field("spec.rotator.generate.fields", "name at least one property"));
        }
        Ok(Self { recipes })
    }

    /// New values for every property.
    #[must_use]
    pub fn make(&self, chance: &dyn Chance) -> Values {
        self.recipes.iter().map(|(property, recipe)| (property.clone(), recipe.make(chance))).collect()
    }
}
