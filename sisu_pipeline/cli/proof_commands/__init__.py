"""Commands that demonstrate, test and measure: `sisu demo`, `sisu lab` and `sisu bench`."""
