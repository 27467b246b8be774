"""The pieces of the molecules of the small-molecule model: groups, and cores with sites for them.

A group is a SMILES whose first atom is bound; a core has ``{}`` at each site. Rings of cores are numbered
from 1, those of groups are 9, so that any group goes on any core.
"""

from __future__ import annotations

NEUTRAL_GROUPS = (
    *("C", "CC", "CCC", "C(C)C", "C(C)(C)C", "C=C", "C#C", "C(C)=C"),
    *("O", "OC", "OCC", "CO", "COC", "OC(C)=O", "OC=O", "COCC"),
    *("S", "SC", "CSC", "S(C)=O", "S(C)(=O)=O", "S(N)(=O)=O", "NS(C)(=O)=O", "OS(C)(=O)=O"),
    *("N", "NC", "N(C)C", "CN", "CN(C)C", "NC(C)=O", "N(C)C(C)=O", "NC=O", "NC(N)=O", "NC(=O)OC", "OC(N)=O"),
    *("C(N)=O", "C(=O)NC", "C(=O)N(C)C", "C(=O)O", "C(=O)OC", "C(=O)OCC", "C(C)=O", "C=O", "C#N"),
    *("[N+](=O)[O-]", "F", "Cl", "Br", "I", "C(F)(F)F", "C(F)F", "CF", "CCl", "CBr", "CC#N"),
    *("OP(=O)(OC)OC", "P(=O)(OC)OC", "OP(C)(=O)OC"),
)

CHARGED_GROUPS = (
    *("C(=O)[O-]", "CC(=O)[O-]", "S(=O)(=O)[O-]", "OS(=O)(=O)[O-]", "OP(=O)([O-])OC", "P(=O)([O-])OC"),
    *("[NH3+]", "C[NH3+]", "[NH2+]C", "[NH+](C)C", "[N+](C)(C)C", "NC(N)=[NH2+]", "C(N)=[NH2+]"),
    *("C[NH+](C)C", "C[N+](C)(C)C"),
)

RING_GROUPS = (
    *("c9ccccc9", "Cc9ccccc9", "Oc9ccccc9", "C(=O)c9ccccc9", "c9ccncc9", "c9ccco9", "c9cccs9", "n9cccn9"),
    *("C9CC9", "CC9CC9", "C9CCC9", "C9CCCC9", "C9CCCCC9", "OC9CCCC9", "N9CCCC9", "CN9CCCC9", "N9CCOCC9"),
    *("CN9CCOCC9", "C(=O)N9CCCC9", "C9CCOC9", "C9CCOCC9", "C9COC9", "N9CCCCC9", "Cn9ccnc9", "N9CCCC9=O"),
    *("S(=O)(=O)N9CCCC9", "OCC9CCCO9", "NC(=O)C9CC9"),
)

#: Of alkanes to drugs' linkers.
CHAINS = (
    *("C({})({})", "C({})C({})", "C({})CC({})", "C({})CCC({})", "C({})CCCC({})", "C({})CCCCC({})"),
    *("C({})C(C)({})", "C({})C({})C({})", "C({})C(C({}))C({})", "C({})C(C)(C)C({})", "C({})CC(C)C({})"),
    *("C({})OC({})", "C({})COCC({})", "C({})OCCOC({})", "C({})CSC({})", "C({})SSC({})", "C({})C(O)C({})"),
    *("C({})NC({})", "C({})CNCC({})", "C({})CN(C)C({})", "N(C({}))(C({}))C({})"),
    *("C({})C(=O)NC({})", "C({})CC(=O)NCC({})", "C({})C(=O)N(C)C({})", "C({})NC(=O)CC(=O)NC({})"),
    *("C({})C(=O)OC({})", "C({})CC(=O)OCC({})", "C({})C(=O)C({})", "C({})CC(=O)CC({})", "C({})CC(=O)SC({})"),
    *("C({})NC(=O)NC({})", "C({})OC(=O)NC({})", "C({})OC(=O)OC({})", "C({})N(C)C(=O)OC({})"),
    *("C({})S(=O)(=O)C({})", "C({})S(=O)C({})", "C({})S(=O)(=O)NC({})", "C({})S(=O)(=O)N(C)C({})"),
    *("C({})/C=C/C({})", "C({})/C=C\\C({})", "C({})C(=C)C({})", "C({})C#CC({})", "C({})/C(C)=N/OC({})"),
    *("C({})C(F)(F)C({})", "C({})OP(=O)(OC)OC({})", "C({})OP(=O)([O-])OC({})", "C({})C[NH2+]CC({})"),
    *("C({})C[NH+](C)C({})", "C({})NC(=[NH2+])NC({})"),
)

SATURATED = (
    *("C1({})CC1", "C1({})CCC1", "C1({})CCCC1", "C1({})CCCCC1", "C1({})CCCCCC1", "C1({})CCCCCCC1"),
    *("C1({})C({})CC1", "C1({})C({})CCC1", "C1({})CC({})CC1", "C1({})C({})CCCC1", "C1({})CC({})CCC1"),
    *("C1({})CCC({})CC1", "C1({})({})CCCCC1", "C1({})CC({})CCCC1"),
    *(
        "C1({})CO1",
        "C1({})COC1",
        "C1({})CCCO1",
        "C1({})CCOC1",
        "C1({})CCOCC1",
        "C1({})CCCCO1",
        "C1({})CCCCCO1",
    ),
    *("C1({})OCCO1", "C1({})COC(C)(C)O1", "C1({})COCCO1", "C1({})OCCCO1"),
    *("N1({})CC1", "N1({})CCC1", "N1({})CCCC1", "C1({})CCNC1", "C1({})CCCN1({})", "N1({})CCCCC1"),
    *("C1({})CCNCC1", "C1({})CCN({})CC1", "C1({})CN({})CCC1", "N1({})CCCCCC1", "C1({})CCCNCC1"),
    *("N1({})CCOCC1", "C1({})CNCCO1", "N1({})CCSCC1", "N1({})CCN({})CC1", "N1({})CCCNCC1"),
    *("C1({})CCCS1", "C1({})CCSCC1", "C1({})CCSS1", "C1({})SCCCS1", "C1({})CCS(=O)(=O)C1", "C1({})CSCCO1"),
    *("O=C1CCCN1({})", "O=C1CCCCN1({})", "O=C1CCC({})N1", "O=C1C({})CCN1", "O=C1CCCCCN1({})"),
    *("O=C1CCC({})O1", "O=C1CCCC({})O1", "O=C1CCCC1({})", "O=C1CCC({})CC1", "O=C1CC({})CCC1", "O=C1CCC1({})"),
    *("C1({})CC=CC1", "C1({})CCC=CC1", "C1({})=CCCCC1", "C1({})CC=CCCC1", "C1({})C=CCO1", "C1({})=CCNCC1"),
    *("O=C1NCCN1({})", "O=C1OCCN1({})", "O=C1CCC(=O)N1({})", "O=C1NC(=O)C({})N1", "O=C1C=CC({})CC1"),
    *("C1({})CC[NH2+]CC1", "C1({})CC[NH2+]C1", "[NH+]1({})CCCC1", "[NH+]1({})CCOCC1", "[NH+]1({})CCCCC1"),
    *("[N+]1(C)({})CCCC1", "C[N+]1({})CCOCC1", "[NH+]1({})CCNCC1", "C1({})C[NH2+]C1", "C1({})CC[NH2+]CCC1"),
)

FUSED = (
    *("C1({})CCC2CCCCC2C1", "C1({})CCCC2CCCCC12", "C1({})CC2CCCCC2C1", "C1({})CC2CCCC2C1", "C1({})CC2CC2C1"),
    *("C1({})C2CCCCC12", "C1({})CC2CCC1C2", "C12({})CCC(CC1)C2", "C12({})CCC(CC1)CC2", "C12({})CC(C1)C2"),
    *("C12({})CC3CC(C1)CC(C3)C2", "C1({})CC2CCC1O2", "C1({})CC2CCCC(C1)C2", "C1({})C2CC3CC(C2)CC1C3"),
    *("C1({})CN2CCC1CC2", "N1({})C2CCC1CCC2", "CN1C2CCC1CC({})C2", "N1({})CC2CC2C1", "N1({})CC2CCCC2C1"),
    *("C1({})CCN2C1CCC2", "N1({})CCC2CCCCC21", "C1({})CCC2OCCC2C1", "N1({})CC2CCC1C2", "O=C1C({})C2CCC1C2"),
    *("C1({})CCC2(CC1)CCCC2", "C1({})CCC2(C1)CCCC2", "C1({})CC2(C1)CCC2", "C1({})CC2(C1)COC2"),
    *("C1({})CCC2(CC1)OCCO2", "N1({})CCC2(CC1)CCC2", "N1({})CC2(C1)CCCC2", "C1({})CC12CCCC2"),
    *("C1({})CC2CC[NH+]1CC2", "C[NH+]1C2CCC1CC({})C2", "C1({})CCC2[NH2+]CCC2C1", "C1({})CC2CCC1[NH2+]2"),
)

AROMATIC = (
    *("c1({})ccccc1", "c1({})ccc({})cc1", "c1({})cc({})ccc1", "c1({})c({})cccc1", "c1({})cc({})cc({})c1"),
    *("c1({})ccncc1", "c1({})cccnc1", "c1({})ccccn1", "c1({})cc({})ncc1", "c1({})ncccn1", "c1({})cncnc1"),
    *("c1({})cnccn1", "c1({})cccnn1", "c1({})ccco1", "c1({})ccoc1", "c1({})cccs1", "c1({})ccsc1"),
    *("c1({})ccc({})s1", "n1({})cccc1", "c1({})cc[nH]c1", "n1({})ccnc1", "c1({})c[nH]cn1", "n1({})cccn1"),
    *("c1({})cc(C)n[nH]1", "c1({})ncco1", "c1({})cc(C)no1", "c1({})nccs1", "c1({})cscn1", "c1({})nc(C)no1"),
    *("n1({})cncn1", "c1({})n[nH]cn1", "n1({})nccn1", "n1({})nnnc1", "O=c1ccccn1({})", "O=c1cc({})[nH]cc1"),
    *("c1({})cc[nH+]cc1", "c1({})cc[n+](C)cc1", "c1({})c[nH]c[nH+]1", "c1({})ccc([O-])cc1"),
    *("c1({})ccc2ccccc2c1", "c1({})c[nH]c2ccccc12", "c1({})ccc2occc2c1", "c1({})cc2ccccc2s1"),
    *("c1({})nc2ccccc2[nH]1", "c1({})ccc2ncccc2c1", "c1({})cnc2ccccc2n1", "n1({})ncc2ccccc12"),
    *("c1({})cnc2ncccn12", "n1({})cnc2cncnc12", "c1({})ccc(cc1)-c1ccccc1", "c1({})ccc(nc1)-c1ccco1"),
)

#: Aromatic rings with a saturated one on them.
PARTLY_SATURATED = (
    *("C1({})CCc2ccccc2C1", "C1({})CCc2ccccc21", "C1({})CCOc2ccccc21", "C1({})COc2ccccc2O1"),
    *("c1({})ccc2OCOc2c1", "N1({})CCc2ccccc21", "N1({})CCc2ccccc2C1", "c1({})ccc2CCCc2n1"),
    *("C1({})CCc2nccn2C1", "C1({})Cc2ccsc2CN1", "C1({})[NH2+]CCc2ccccc21", "O=C1CCc2ccccc2N1({})"),
)

#: Nobody makes these, or they fall apart: the pieces are joined without asking.
UNWANTED = (
    *("[#7,#8,#16]!@[OX2;!$(OC=N);!$(O[NX2]);!$(OS(=O)=O)]", "[OX2][OX2]", "[SX2][NX3,OX2]"),
    *("[NX3,NX4+][NX3,NX4+]", "[NX3;!$(NC=O)][OX2]", "[#7,#8,#16][F,Cl,Br,I]", "[#15][#7,#16,F,Cl,Br,I]"),
    *(
        "[CX4]([OX2H])[#7,OX2,SX2,F,Cl,Br,I]",
        "[CX4]([F,Cl,Br,I])[#7,#8,#16,#15]",
        "[CX4]([NX3,NX4+])[SX2,SX3,SX4]",
    ),
    "[CX4]([NX3H2,NX3H1,NX4+,NX3;!$(NC=O);!$(NS(=O)=O)])[OX2,NX3,NX4+;!$([#7]C=O)]",
    *("[CX4]([NX3,NX4+])C#N", "[CX4]([OX2])C#N", "[CX4]([SX2H])[#7,#8,#16]"),
    *("C=C[OX2H,NX3H2,NX3H1,SX2H,NX4+]", "C=[C;!$(C=C=O)]([OX2H])", "C#C[#7,#8,#16,#15,F,Cl,Br,I]"),
    *(
        "[CX3](=[OX1])[F,Cl,Br,I]",
        "[CX3](=O)[OX2][CX3]=O",
        "[SX4](=O)[SX2,SX3,SX4,F,Cl,Br,I]",
        "[SX3](=O)[#7,#8,#16]",
    ),
    *(
        "[#7,#8,#16,#15][N+](=O)[O-]",
        "[#7,#8,#16,#15]C#N",
        "[#7,#8,#16]C(=O)[O-,OX2H]",
        "[#16,#15][CX3H]=O",
        "[NX3,NX4+,OX2]n",
        "[NX4+][#7,#8,#16,#15]",
        "C(=O)OS=O",
    ),
    *("[CX3](=O)[CX3](=O)[CX3](=O)", "[CX4]([N+](=O)[O-])[#7,#8,#16]", "[SX2][SX2][#7,#8,SX2]"),
    *(
        "[#15][CX4][F,Cl,Br,I]",
        "[NX3]P",
        "OPOC=O",
        "[SX2H][CX3]",
        "[CX4]([I,Br])[CX3]=O",
        "[N+](=O)([O-])[CX4][CX3]=O",
    ),
    *("[CX3H1](=O)[CX3]=O", "[NX2]=[CX3][OX2H,F,Cl,Br,I]", "[#6]1[#8,#7][#6]1[#7,#8,#16]"),
)
