//! How uncertain a signal is, and the QoS that this suggests.

use auricle::{Qos, entropy_of_powers, qos_from_entropy, spectral_entropy};

use crate::signals::noise;

#[test]
fn uncertain_signals_are_raised_and_ordered_ones_lowered() {
    let tone = |len: usize| -> Vec<f32> { (0..len).map(|n| 1e-3 * (n as f32 * 0.3).sin()).collect() };
    let mixed =
        |level: f32| -> Vec<f32> { tone(8192).iter().zip(noise(8192, 4)).map(|(x, y)| x + level * y).collect() };
    for len in [16, 100, 1024, 5000, 48_000] {
        let entropy = spectral_entropy(&noise(len, 2)).expect("noise is no silence");
        assert!((0.75..=1.0).contains(&entropy), "{len} samples of noise: {entropy}");
        assert!(len < 100 || qos_from_entropy(&noise(len, 2)) == Qos::High, "{len} samples of noise");
        assert!(len < 100 || qos_from_entropy(&tone(len)) == Qos::Low, "{len} samples of a tone");
    }
    assert_eq!(qos_from_entropy(&mixed(1e-3)), Qos::Default, "a tone in noise, between the bounds");
    let loud: Vec<f32> = noise(4096, 2).iter().map(|x| x * 1e38).collect();
    assert_eq!(qos_from_entropy(&loud), Qos::High);
    let quiet: Vec<f32> = noise(4096, 2).iter().map(|x| x * 1e-38).collect();
    assert_eq!(qos_from_entropy(&quiet), Qos::High);
    for nothing in [&[][..], &[1.0; 15], &[0.0; 2000], &[f32::NAN; 2000], &[f32::INFINITY; 2000]] {
        assert_eq!((spectral_entropy(nothing), qos_from_entropy(nothing)), (None, Qos::Default));
    }
    assert_eq!(entropy_of_powers(&[2.0; 8]), Some(1.0));
    assert_eq!(entropy_of_powers(&[0.0, 7.0, 0.0]), Some(0.0));
    let expected = -(0.25_f64 * 0.25_f64.ln() + 0.75 * 0.75_f64.ln()) / 2.0_f64.ln();
    let actual = entropy_of_powers(&[1.0, 3.0]).expect("there is power");
    assert!((f64::from(actual) - expected).abs() < 1e-6, "{actual}, {expected}");
    for bad in [&[1.0][..], &[1.0, -1.0], &[1.0, f32::NAN], &[0.0, 0.0]] {
        assert_eq!(entropy_of_powers(bad), None);
    }
}
