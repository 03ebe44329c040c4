LOCUS       AAO92326                 284 aa            linear   VRL 13-APR-2003
DEFINITION  capsid protein [Kalanchoe latent virus].
ACCESSION   AAO92326
VERSION     AAO92326.1
DBSOURCE    accession AY238137.1
KEYWORDS    .
SOURCE      Kalanchoe latent virus (KLV)
  ORGANISM  Kalanchoe latent virus
            Viruses; Riboviria; Orthornavirae; Kitrinoviricota; Alsuviricetes;
            Tymovirales; Betaflexiviridae; Quinvirinae; Carlavirus.
REFERENCE   1  (residues 1 to 284)
  AUTHORS   Nicolaisen,M.
  TITLE     Spontaneous mutations in the coat protein gene of a carlavirus
            affect virus movement in Chenopodium quinoa
  JOURNAL   Unpublished
REFERENCE   2  (residues 1 to 284)
  AUTHORS   Nicolaisen,M.
  TITLE     Direct Submission
  JOURNAL   Submitted (18-FEB-2003) Dept of Plant Protection, DIAS, Forsoegsvej
            1, Slagelse 4200, Denmark
COMMENT     Method: conceptual translation.
FEATURES             Location/Qualifiers
     source          1..284
                     /organism="Kalanchoe latent virus"
                     /isolate="KLV 0290B"
                     /db_xref="taxon:132477"
                     /note="systemic in C. quinoa; identical sequence found in
                     isolates KLV 0290F, G, and L"
     Protein         1..284
                     /product="capsid protein"
     CDS             1..284
                     /coded_by="AY238137.1:1..855"
                     /transl_table=1
ORIGIN      
        1 mapkpdpeva gstsqlganq aavvgtvgps rekmledrlt nlietlnkdm hnsnlkniaf
       61 eigrpvlept aqmkrnpanp ygrfsidelf kmkidvvsnn matteqmaki taditglgvp
      121 seqvaevilk mvimcasvss safldpdgsv efssgavpvd siaaimkkha glrkvcrlya
      181 pivwnsmlvr nqppsdwqam gfpfnarfaa fdtfdyvtna aaiqpvegii rrptseevia
      241 hnahkrlald ranrndrlgn leteytggiq gaeitrnhrn anng
//
