//! PriorityLevelConfiguration: how many requests of a level are worked on at a time, and what happens to those that are too many.
//! The rules are those of `pkg/apis/flowcontrol/validation`, the texts as well.

use super::flow_schema::{condition_types, first};
use crate::contract::{Column, Descriptor};
use crate::field::{Errors, Path};
use crate::table::{self, text};
use crate::typed::{Kind, cluster};
use k8s_openapi::api::flowcontrol::v1::{
    self, LimitResponse, LimitedPriorityLevelConfiguration, PriorityLevelConfigurationSpec, QueuingConfiguration,
};
use serde_json::Value;

pub struct PriorityLevelConfiguration;

const DEFAULT_SHARES: i32 = 30;
const DEFAULT_QUEUES: i32 = 64;
const DEFAULT_HAND: i32 = 8;
const DEFAULT_LENGTH: i32 = 50;
const MAX_QUEUES: i32 = 10_000_000;
/// Bits of a flow's hash that dealing its queues may use up.
const HASH_BITS: u32 = 60;

const COLUMNS: &[Column] = &[
    table::NAME,
    text("Type", "Whether the level's requests are limited"),
    text("NominalConcurrencyShares", "The level's part of the seats of the server, to the sum of all"),
    text("Queues", "How many queues the level has"),
    text("HandSize", "Among how many queues a flow's requests take the shortest"),
    text("QueueLengthLimit", "Most requests that wait in one queue"),
    table::AGE,
];

impl Kind for PriorityLevelConfiguration {
    type Object = v1::PriorityLevelConfiguration;

    const DESCRIPTOR: Descriptor = Descriptor {
        subresources: &["status"],
        has_generation: true,
        ..cluster::<v1::PriorityLevelConfiguration>("prioritylevelconfigurations", "prioritylevelconfiguration")
    };
    const COLUMNS: &'static [Column] = COLUMNS;

    fn default(object: &mut v1::PriorityLevelConfiguration) {
        let Some(spec) = &mut object.spec else { return };
        if let Some(exempt) = &mut spec.exempt {
            exempt.nominal_concurrency_shares.get_or_insert(0);
            exempt.lendable_percent.get_or_insert(0);
        }
        if let Some(limited) = &mut spec.limited {
            limited.nominal_concurrency_shares.get_or_insert(DEFAULT_SHARES);
            limited.lendable_percent.get_or_insert(0);
            if let Some(queuing) = limited.limit_response.as_mut().and_then(|response| response.queuing.as_mut()) {
                for (number, default) in [
                    (&mut queuing.queues, DEFAULT_QUEUES),
                    (&mut queuing.hand_size, DEFAULT_HAND),
                    (&mut queuing.queue_length_limit, DEFAULT_LENGTH),
                ] {
                    if number.unwrap_or_default() == 0 {
                        *number = Some(default);
                    }
                }
            }
        }
    }

    fn validate(object: &v1::PriorityLevelConfiguration, errors: &mut Errors) {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        let spec = object.spec.clone().unwrap_or_default();
        let at = Path::Root.field("spec");
        validate_spec(name, &spec, &at, errors);
        if let Some(mut fixed) = first::fixed_level(name) {
            let mut given = serde_json::to_value(&spec).unwrap_or_default();
            // What the exempt level lends is the administrators' to say.
            let but = if name == "exempt" {
                for spec in [&mut fixed, &mut given] {
                    spec.as_object_mut().map(|spec| spec.remove("exempt"));
                }
                " except the 'spec.exempt' field"
            } else {
                ""
            };
            if fixed != given {
                errors.invalid_as_is(&at, format!("spec of '{name}'{but} must equal the fixed value"));
            }
        }
        let conditions = object.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
        condition_types(conditions.iter().map(|condition| condition.type_.as_deref()), errors);
    }

    fn cells(object: &v1::PriorityLevelConfiguration, now: i64) -> Vec<Value> {
        let spec = object.spec.clone().unwrap_or_default();
        let queuing = spec.limited.as_ref().and_then(|limited| limited.limit_response.as_ref()?.queuing.clone());
        let number = |number: Option<i32>| number.map_or_else(|| Value::from("<none>"), Value::from);
        let of_queues =
            |part: fn(&QueuingConfiguration) -> Option<i32>| number(queuing.as_ref().map(|queuing| part(queuing).unwrap_or_default()));
        vec![
            table::name(&object.metadata),
            spec.type_.into(),
            number(spec.limited.map(|limited| limited.nominal_concurrency_shares.unwrap_or_default())),
            of_queues(|queuing| queuing.queues),
            of_queues(|queuing| queuing.hand_size),
            of_queues(|queuing| queuing.queue_length_limit),
            table::age(&object.metadata, now),
        ]
    }
}

fn validate_spec(name: &str, spec: &PriorityLevelConfigurationSpec, at: &Path<'_>, errors: &mut Errors) {
    if (name == "exempt") != (spec.type_ == "Exempt") {
        errors.invalid(&at.field("type"), spec.type_.as_str(), "type must be 'Exempt' if and only if name is 'exempt'");
    }
    let not_negative = |shares: Option<i32>, at: &Path<'_>, errors: &mut Errors| {
        if let Some(shares) = shares.filter(|shares| *shares < 0) {
            errors.invalid(&at.field("nominalConcurrencyShares"), shares, "must be a non-negative integer");
        }
    };
    let percent = |percent: Option<i32>, at: &Path<'_>, errors: &mut Errors| {
        if let Some(percent) = percent.filter(|percent| !(0..=100).contains(percent)) {
            errors.invalid(&at.field("lendablePercent"), percent, "must be between 0 and 100, inclusive");
        }
    };
    match &spec.type_[..] {
        "Exempt" => {
            if spec.limited.is_some() {
                errors.forbidden(&at.field("limited"), "must be nil if the type is not Limited");
            }
            if let Some(exempt) = &spec.exempt {
                not_negative(exempt.nominal_concurrency_shares, &at.field("exempt"), errors);
                percent(exempt.lendable_percent, &at.field("exempt"), errors);
            }
        }
        "Limited" => {
            if spec.exempt.is_some() {
                errors.forbidden(&at.field("exempt"), "must be nil if the type is Limited");
            }
            let Some(limited) = &spec.limited else {
                return errors.required(&at.field("limited"), "must not be empty when type is Limited");
            };
            let at = at.field("limited");
            not_negative(limited.nominal_concurrency_shares, &at, errors);
            percent(limited.lendable_percent, &at, errors);
            validate_limits(limited, &at, errors);
        }
        other => errors.not_supported(&at.field("type"), other, &["Exempt", "Limited"]),
    }
}

fn validate_limits(limited: &LimitedPriorityLevelConfiguration, at: &Path<'_>, errors: &mut Errors) {
    if let Some(borrowing) = limited.borrowing_limit_percent.filter(|percent| *percent < 0) {
        errors.invalid(&at.field("borrowingLimitPercent"), borrowing, "if specified, must be a non-negative integer");
    }
    let at = at.field("limitResponse");
    let LimitResponse { type_, queuing } = limited.limit_response.clone().unwrap_or_default();
    match (&type_[..], &queuing) {
        ("Reject", Some(_)) => errors.forbidden(&at.field("queuing"), "must be nil if limited.limitResponse.type is not Limited"),
        ("Queue", None) => errors.required(&at.field("queuing"), "must not be empty if limited.limitResponse.type is Limited"),
        ("Queue", Some(queuing)) => validate_queues(queuing, &at.field("queuing"), errors),
        ("Reject", None) => {}
        (other, _) => errors.not_supported(&at.field("type"), other, &["Queue", "Reject"]),
    }
}

fn validate_queues(queuing: &QueuingConfiguration, at: &Path<'_>, errors: &mut Errors) {
    let length = queuing.queue_length_limit.unwrap_or_default();
    if length <= 0 {
        errors.invalid(&at.field("queueLengthLimit"), length, "must be positive");
    }
    let (queues, hand) = (queuing.queues.unwrap_or_default(), queuing.hand_size.unwrap_or_default());
    if queues <= 0 {
        errors.invalid(&at.field("queues"), queues, "must be positive");
    } else if queues > MAX_QUEUES {
        errors.invalid(&at.field("queues"), queues, format!("must not be greater than {MAX_QUEUES}"));
    }
    let at = at.field("handSize");
    if hand <= 0 {
        errors.invalid(&at, hand, "must be positive");
    } else if hand > queues {
        errors.invalid(&at, hand, format!("should not be greater than queues ({queues})"));
    } else if dealing_bits(queues, hand) > HASH_BITS {
        let detail = format!("required entropy bits of deckSize {queues} and handSize {hand} should not be greater than {HASH_BITS}");
        errors.invalid(&at, hand, detail);
    }
}

/// Bits of a hash that dealing a hand of queues uses up: the logarithm of the number of ordered hands, rounded up.
fn dealing_bits(queues: i32, hand: i32) -> u32 {
    let bits: f64 = (0..hand).map(|dealt| f64::from(queues - dealt).log2()).sum();
    bits.ceil() as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Resource;
    use crate::typed::Typed;
    use serde_json::json;

    const KIND: Typed<PriorityLevelConfiguration> = Typed::<PriorityLevelConfiguration>::NEW;

    fn complaints(name: &str, spec: Value) -> Vec<String> {
        let object = json!({"metadata": {"name": name}, "spec": spec});
        KIND.validate_create(&KIND.decode(object).unwrap().object).iter().map(ToString::to_string).collect()
    }

    fn queuing(change: Value) -> Value {
        json!({"type": "Limited", "limited": {"limitResponse": {"type": "Queue", "queuing": change}}})
    }

    #[test]
    fn what_is_left_out_has_defaults() {
        let object = KIND.decode(json!({"metadata": {"name": "a"}, "spec": queuing(json!({}))})).unwrap().object;
        let expected = json!({"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {"type": "Queue",
            "queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}}});
        assert_eq!(object["spec"]["limited"], expected);
        // No share at all is a wish: nobody of the level is let in.
        let none = json!({"type": "Limited", "limited": {"nominalConcurrencyShares": 0, "limitResponse": {"type": "Reject"}}});
        let object = KIND.decode(json!({"metadata": {"name": "a"}, "spec": none})).unwrap().object;
        assert_eq!(object["spec"]["limited"]["nominalConcurrencyShares"], 0);
    }

    #[test]
    fn each_type_has_its_own_part() {
        let reject = json!({"type": "Limited", "limited": {"limitResponse": {"type": "Reject"}}});
        assert_eq!(complaints("a", reject.clone()), [""; 0]);
        assert_eq!(complaints("a", json!({"type": "Limited"})), ["spec.limited: Required value: must not be empty when type is Limited"]);
        assert_eq!(
            complaints("a", json!({"type": "Exempt"})),
            ["spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'"]
        );
        assert_eq!(
            complaints("exempt", reject),
            [
                "spec.type: Invalid value: \"Limited\": type must be 'Exempt' if and only if name is 'exempt'",
                "spec: Invalid value: spec of 'exempt' except the 'spec.exempt' field must equal the fixed value",
            ]
        );
        assert_eq!(complaints("exempt", json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 7}})), [""; 0]);
        let odd = json!({"type": "Limited", "limited": {"nominalConcurrencyShares": -1, "lendablePercent": 101, "borrowingLimitPercent": -1,
            "limitResponse": {"type": "Reject", "queuing": {}}}});
        assert_eq!(
            complaints("a", odd),
            [
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
            ]
        );
    }

    #[test]
    fn queues_have_bounds() {
        let at = "spec.limited.limitResponse.queuing";
        for (change, expected) in [
            (
                json!({"queues": -1}),
                vec![
                    format!("{at}.queues: Invalid value: -1: must be positive"),
                    format!("{at}.handSize: Invalid value: 8: should not be greater than queues (-1)"),
                ],
            ),
            (json!({"queues": 4}), vec![format!("{at}.handSize: Invalid value: 8: should not be greater than queues (4)")]),
            (json!({"queueLengthLimit": -5}), vec![format!("{at}.queueLengthLimit: Invalid value: -5: must be positive")]),
            (
                json!({"queues": 10_000_001, "handSize": 1}),
                vec![format!("{at}.queues: Invalid value: 10000001: must not be greater than 10000000")],
            ),
            (
                json!({"queues": 512, "handSize": 8}),
                vec![format!(
                    "{at}.handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60"
                )],
            ),
            (json!({"queues": 128, "handSize": 8}), vec![]),
        ] {
            assert_eq!(complaints("a", queuing(change)), expected);
        }
    }

    #[test]
    fn the_levels_of_the_start_keep_their_own_rules() {
        for (_, _, object) in first::all().into_iter().filter(|(_, plural, _)| *plural == "prioritylevelconfigurations") {
            let name = object["metadata"]["name"].as_str().unwrap().to_owned();
            assert_eq!(complaints(&name, object["spec"].clone()), [""; 0], "{object}");
        }
        assert!(complaints("catch-all", queuing(json!({})))[0].contains("spec of 'catch-all' must equal the fixed value"));
    }
}
