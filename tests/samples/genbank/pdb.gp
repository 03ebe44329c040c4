LOCUS       1MRR_A                    15 aa            linear   BCT 13-AUG-2018
DEFINITION  A record.
ACCESSION   1MRR_A
VERSION     1MRR_A
DBSOURCE    pdb: molecule 1MRR, chain A, release Aug 28, 2012;
            deposition: Jul 28, 1992.
KEYWORDS    .
SOURCE      Example virus
  ORGANISM  Example virus
            Viruses; Riboviria.
REFERENCE   1  (bases 1 to 15)
  AUTHORS   Doe,J.
  TITLE     Direct Submission
  JOURNAL   Submitted (01-JAN-2018) Somewhere
FEATURES             Location/Qualifiers
     source          1..15
                     /organism="Example virus"
                     /mol_type="genomic DNA"
                     /db_xref="taxon:12345"
ORIGIN      
        1 ayttfsatkn dqlke
//
