"""The words of the field, as frozen structs.

Two layers. *Facts* are what one source said (``source``, ``keystone``, ``placement``, ``nova``, ``host_facts``);
the *snapshot* is what the join made of all facts at one moment (``snapshot``). In both, ``None`` means unknown,
never zero and never "no".
"""
