"""Renderers: pictures and tables of products, in the look that the field is used to.

What they draw is decided here; how it looks comes from mplhep's styles. matplotlib is imported where something is
drawn, and is left as it was found. Pictures are for looking: their numbers are outside of the numeric profile.

What all pictures of one axis have in common:

* Bins are drawn as they are, not divided by their widths. What lies outside of the axis is not drawn; a triangle at the
  end of the axis says that there is something.
* Data are black points. An empty bin of data has no point: the absence of an event is not drawn at zero.
* Statistical uncertainties: of data that were counted (and not scaled), the central 68.27 % interval for a Poisson
  mean; of everything else, the root of the sum of squared weights. See
  :mod:`fasthep_archive.operations.render.intervals`.
* Sums that are not finite are drawn as empty bins, and the picture says so.
"""
