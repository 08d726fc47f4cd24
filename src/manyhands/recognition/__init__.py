"""From a photo of separated handwriting to text: `manyhands.recognize`, and the steps that it consists of."""
