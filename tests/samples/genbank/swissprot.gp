LOCUS       SCX3_BUTOC                64 aa            linear   INV 16-OCT-2001
DEFINITION  Neurotoxin III.
ACCESSION   P01485
PID         g134354
VERSION     P01485  GI:134354
DBSOURCE    swissprot: locus SCX3_BUTOC, accession P01485;
            class: standard.
            xrefs: gi: gi: 69530
            xrefs (non-sequence databases): HSSP P01484, InterPro IPR003614
KEYWORDS    Neurotoxin; Sodium channel inhibitor; Amidation.
SOURCE      Tunisian scorpion.
  ORGANISM  Buthus occitanus tunetanus
            Eukaryota; Metazoa; Buthus.
REFERENCE   1  (residues 1 to 64)
  AUTHORS   Vargas,O., Gregoire,J., Martin,M.-F., Bechis,G. and Rochat,H.
  TITLE     Neurotoxins from the venoms of two scorpions: Buthus occitanus
            tunetanus and Buthus occitanus mardochei
  JOURNAL   Toxicon 20, 79-79 (1982)
  MEDLINE   93368659
   PUBMED   7689702
  REMARK    SEQUENCE.
COMMENT     [FUNCTION] BINDS TO SODIUM CHANNELS.
            [SUBCELLULAR LOCATION] SECRETED.
FEATURES             Location/Qualifiers
     source          1..64
                     /organism="Buthus occitanus tunetanus"
                     /db_xref="taxon:6871"
     Bond            bond(12,63)
                     /bond_type="disulfide"
     Het             join(bond(16),bond(36))
                     /heterogen="( MN,1000 )"
     Site            64
                     /site_type="amidation"
ORIGIN      
        1 vkdgyivddr nctyfcgrna ycneectklk gesgycqwas pygnacycyk vpdhvrtkgp
       61 grcn
//
