"""One typed function for each verb; the face for Python, `boltzgen` itself, takes them from here.

What all verbs have in common:

* What goes in, where it goes and how much of it come first and may be given by position; all else is by name.
  Folders are paths; what a folder holds is named in the docstring (SYS, MD, RUN, OUT).
* Up to six options stand in the signature. Where there are more, they are a frozen record of their own,
  ``SampleOptions`` beside `sample`, say, whose fields the verb takes as keyword arguments
  (``**options: Unpack[SampleKeywords]``); the decorator `boltzgen.workflows.options.takes` puts names and
  defaults into the signature that ``help()`` and a notebook show. ``stop``, ``progress``, ``strict``,
  ``overwrite`` and ``resume`` say how a call goes on or ends, are never part of the record, and stand in
  the signature.
* What comes out is a frozen record; its ``to_json()`` is the content of the file that was written. Its
  ``repr`` is one line; a notebook shows it as a table.
* Bad input raises `InputError`, a stop `StoppedError` or `PartialError`, with ``strict`` an unreliable
  verdict `UnreliableError`; whatever was done is written first.

A function has the name of its file, so that ``boltzgen.workflows.sampling.sample`` is always the module. The
packages here therefore hand out nothing: the library imports from the modules, people from `boltzgen`.
"""
