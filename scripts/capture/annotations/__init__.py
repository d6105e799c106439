"""Annotations -> labelled image-text samples, for annotations.py: readers (coco, virat, actev) and
what they share (samples: labels and lines; spans: frames of a clip; located_json: JSON whose faults
have a line). A reader yields scenes and counts what it leaves out. Needs no package."""

REMEDY = "; correct it or take it out"  # what to do about a faulty entry
